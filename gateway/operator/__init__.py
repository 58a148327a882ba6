"""What an operator does from outside of a gateway: check the site, look at the rooms, stop an agent."""
