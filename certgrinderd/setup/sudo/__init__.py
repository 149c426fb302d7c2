"""The rule by which sudo lets the service user run one command line as somebody else."""
