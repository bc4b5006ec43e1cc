"""The control plane: projects, keys, hosts, workspaces, targets; one file a noun."""
