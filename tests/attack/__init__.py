"""Files from strangers, mutants and kills: what must never happen."""
