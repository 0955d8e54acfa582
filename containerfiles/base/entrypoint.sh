#!/bin/sh
# Prints what this image is. Runs as any user, on a read-only root, with shell builtins and `cat` only.
# The disk is at /disk/disk.qcow2; KubeVirt and CDI never run this script.
set -u
root="${KMI_METADATA:-/kmi}"

fields() {
    for path in "$root"/metadata/*; do
        printf '%s\n' "${path##*/}"
    done
}

usage() {
    printf '%s\n' 'usage: IMAGE                print all metadata' \
        '       IMAGE FIELD...       print the values of these fields' \
        '       IMAGE --json         print all metadata as JSON' \
        '       IMAGE licence        print the licence' \
        '       IMAGE eula           print the end-user agreement, if there is one' \
        '       IMAGE --help         print this text' '' 'fields:'
    for name in $(fields); do
        printf '  %s\n' "$name"
    done
}

# The file that answers for a field; empty if there is none. A name is letters, digits and hyphens, never a path.
answer=
find_answer() {
    answer=
    case "$1" in
        '' | -* | *[!a-z0-9-]*) return 1 ;;
        licence | eula) answer="$root/$1" ;;
        *) answer="$root/metadata/$1" ;;
    esac
    [ -f "$answer" ]
}

case "${1-}" in
    '') if [ $# -eq 0 ]; then cat "$root/metadata.txt"; exit; fi ;;
    --json) cat "$root/metadata.json"; exit ;;
    --help | -h) usage; exit ;;
esac

for name in "$@"; do
    if ! find_answer "$name"; then
        printf '%s\n' "unknown field: $name" 'known fields:' >&2
        for known in $(fields); do
            printf '  %s\n' "$known" >&2
        done
        exit 2
    fi
done
for name in "$@"; do
    find_answer "$name"
    cat "$answer" || exit 1
done
