"""Studies of the method: each is whole in its folder."""
