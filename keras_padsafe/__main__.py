"""`python -m keras_padsafe` is the command `keras-padsafe`."""

from keras_padsafe.cli import main

main(prog_name="keras-padsafe")
