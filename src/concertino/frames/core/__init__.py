"""What a stream is made of: ring, flow, account, messages; no socket."""
