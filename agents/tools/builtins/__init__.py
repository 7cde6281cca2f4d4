"""Tools of this server that reach beyond it: code in the sandbox, searches of the web, and its pages."""
