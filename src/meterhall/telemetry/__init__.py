"""What the service says about itself: metrics and structured log events."""
