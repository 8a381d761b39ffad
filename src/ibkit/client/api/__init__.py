"""The verbs, a topic a module: functions of a client, bound to it in `client.client`."""
