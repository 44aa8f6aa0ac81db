"""A plan carried out, archive to archive."""
