#!/usr/bin/env bash
# readme-block.sh NAME prints the command that README.md shows under the comment `<!-- ci: NAME -->`:
# the inside of the fenced block that follows, word for word. CI runs what this prints, so the README
# cannot show a command that does not work.
#
# Fails, printing nothing, unless there is exactly one such comment, next to it (blank lines aside)
# a fenced block, and something in it.
set -euo pipefail

if [[ $# -ne 1 ]]; then
    echo "usage: readme-block.sh NAME" >&2
    exit 2
fi
readme="$(dirname "${BASH_SOURCE[0]}")/../README.md"
if [[ ! -f "$readme" ]]; then
    echo "readme-block: there is no README.md" >&2
    exit 1
fi

awk -v name="$1" '
    function fail(why) {
        print "readme-block: README.md: " why > "/dev/stderr"
        failed = 1
        exit 1
    }
    { sub(/\r$/, "") }

    state == "inside" && /^```[ \t]*$/ { state = "done"; next }
    state == "inside" { block = block $0 "\n"; next }
    state == "marked" && /^```/ { state = "inside"; next }
    state == "marked" && /[^ \t]/ { fail("no fenced block follows the comment \"ci: " name "\"") }

    $0 == "<!-- ci: " name " -->" {
        if (state != "") fail("the comment \"ci: " name "\" is there twice")
        state = "marked"
    }

    END {
        if (failed) exit 1
        if (state == "") fail("there is no comment \"<!-- ci: " name " -->\"")
        if (state != "done") fail("the block of \"ci: " name "\" does not begin or does not end")
        if (block !~ /[^ \t\n]/) fail("the block of \"ci: " name "\" is empty")
        printf "%s", block
    }
' "$readme"
