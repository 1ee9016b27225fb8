"""The agent of one site. So far only the messages it will exchange with the controller."""
