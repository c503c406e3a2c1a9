"""The command line `embodied`: one module per command. Heavy imports happen inside the commands."""
