"""The service: orders, status and health over HTTP. Thin handlers over plain use cases; loaded by `ibkit serve`."""
