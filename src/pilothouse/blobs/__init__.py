"""Content-addressed files.

A sealed folder lives at `<root>/<aa>/<digest>`, where `aa` are the first two letters of the digest of its manifest. It
is filled aside, under `<root>/.incoming`, and renamed into place once everything in it is on the disk. Files are
linked where the file system can, so that keeping a checkpoint costs no second copy; linked or copied, they are made
read-only. A reader always compares every file with its manifest, so a folder that was damaged later, by a disk or by a
hand, is named and never used.
"""
