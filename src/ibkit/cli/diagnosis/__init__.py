"""What `ibkit doctor` looks at besides settings and keys: a module for each kind of thing that may be wrong."""
