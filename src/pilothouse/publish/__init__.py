"""The ways out: a forge, a chat, and pages beside the database; every one of them a `ports.channel.Channel`."""
