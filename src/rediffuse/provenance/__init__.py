"""What a result was made of: code, inputs, machine; by their digests, and as dvc.yaml and dvc.lock list them."""
