"""What the parts are measured with: endpoints, servers and a quiet process."""
