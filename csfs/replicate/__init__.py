"""The network side: links, and the workers that send, receive, fetch and apply."""
