"""The guide's REST API, `/v1.0`: ten calls over the control plane."""
