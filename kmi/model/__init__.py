"""The vocabulary that crosses doors between the rooms: frozen values, no effects, no foreign imports."""
