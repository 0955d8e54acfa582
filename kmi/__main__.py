from kmi.cli import entry

entry()
