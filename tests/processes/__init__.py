"""The fault table: real gateways, redis-server, livekit-server, toxiproxy, and what can happen to them."""
