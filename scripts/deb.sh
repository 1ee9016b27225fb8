#!/bin/sh
# Builds the Debian package of the agent, dist/vte-agent_VERSION_ARCH.deb, for the Debian that it is run on.
# Run by make; installs what it needs for that (as root).
set -eu

fail() {
    echo "lockstitch: $1" >&2
    exit 1
}

# A field of setup.cfg: the version, and what the agent needs, are written down there.
field() {
    /usr/bin/python3 -c 'import configparser, sys
known = configparser.ConfigParser()
known.read("setup.cfg")
print(known[sys.argv[1]][sys.argv[2]].strip())' "$@"
}

# Says nothing of what goes well.
run() {
    "$@" >build/deb.log 2>&1 || {
        tail -n 20 build/deb.log >&2
        fail "$1 failed (log above)"
    }
}

# Here, as dpkg puts what it makes beside the tree that it makes it of.
build=build/deb
rm -rf "$build"
mkdir -p "$build/docs" dist

command -v apt-get >/dev/null || fail "builds Debian packages on Debian only"
needs=$(sed -n 's/^Build-Depends: debhelper-compat ([^)]*)/debhelper/p' debian/control | tr -d ,)
if ! dpkg --status $needs >/dev/null 2>&1; then
    how="apt-get install --no-install-recommends $needs"
    [ "$(id -u)" = 0 ] || fail "needs packages; run 'sudo $how' or run make as root"
    echo "installing $needs"
    export DEBIAN_FRONTEND=noninteractive
    run apt-get update
    run $how -y
fi

cp -R debian vte_agent "$build"
cp docs/overlay.md "$build/docs"
find "$build" -name __pycache__ -prune -exec rm -r {} +
field options agent_requires >"$build/requirements.txt"
cat >"$build/debian/changelog" <<END
lockstitch ($(field metadata version)) unstable; urgency=medium

  * As it is in its repository.

 -- $(sed -n 's/^Maintainer: //p' debian/control)  $(git log -1 --format=%aD 2>/dev/null || date -R -r setup.cfg)
END
run env --chdir="$build" dpkg-buildpackage --build=binary --no-check-builddeps --unsigned-changes
mv build/vte-agent_*.deb dist
ls dist/vte-agent_*.deb
