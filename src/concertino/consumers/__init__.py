"""What callbacks stand on: documents and frames in threads of their own, and their writer."""
