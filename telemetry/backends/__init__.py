"""Where traces go: one small file for each kind of back end, all behind one interface (`base`)."""
