#!/bin/sh
# Installs what is missing: Debian packages (as root), and a virtual environment with the Python ones.
# Run by make; does nothing that is done already.
set -eu

: "${PYTHON:=python3}" "${VENV:=.venv}" "${EXTRAS:=dev}"

fail() {
    echo "lockstitch: $1" >&2
    exit 1
}

# command:package pairs. What is there is used, wherever it came from.
missing="" service=""
needs="ovs-vsctl:openvswitch-switch ovs-vswitchd:openvswitch-switch mnexec:mininet ip:iproute2 ping:iputils-ping
    ifconfig:net-tools nft:nftables wireguard-go:wireguard-go sysctl:procps nsenter:util-linux"
plugins=""
case "$EXTRAS" in
*dev*)
    # Tunnels between sites are tested with all that they can be made of.
    needs="$needs charon-systemd:charon-systemd"
    plugins="kernel-libipsec:libcharon-extra-plugins openssl:libstrongswan-standard-plugins"
    ;;
esac
for need in $needs; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
# What strongSwan loads is no command.
for need in $plugins; do
    ls /usr/lib*/*/plugins/libstrongswan-"${need%%:*}".so >/dev/null 2>&1 || missing="$missing ${need#*:}"
done
command -v "$PYTHON" >/dev/null || missing="$missing python3"
if ! "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
    case "$(command -v "$PYTHON")" in /usr/bin/*|"") missing="$missing python3-venv" ;; esac
fi

if [ -n "$missing" ]; then
    missing=$(printf '%s\n' $missing | sort -u | paste -s -d ' ')
    [ "$(id -u)" = 0 ] || fail "needs the packages $missing; run 'sudo apt-get install $missing' or run make as root"
    command -v apt-get >/dev/null || fail "needs the programs of Debian's packages $missing; install them"
    echo "installing $missing"
    export DEBIAN_FRONTEND=noninteractive
    # The agent starts a charon of its own; Debian would start one for the whole machine, now and with it.
    case " $missing " in
    *" charon-systemd "*) [ ! -d /run/systemd/system ] || service=strongswan.service ;;
    esac
    [ -z "$service" ] || systemctl --quiet mask --runtime "$service"
    log=$(mktemp)
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        [ -z "$service" ] || systemctl --quiet unmask --runtime "$service"
        fail "apt-get could not install $missing (log above)"
    }
    rm -f "$log"
    [ -z "$service" ] || { systemctl --quiet unmask --runtime "$service"; systemctl --quiet disable "$service"; }
fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "needs Python 3.11 or newer; set PYTHON="

echo "making the Python environment in $VENV"
"$PYTHON" -m venv "$VENV"
case "$EXTRAS" in
*dev*)
    # PyPI's PyTorch brings gigabytes of CUDA, which no test needs; its own index has one for the CPU alone. Where that
    # is out of reach the next step takes what PyPI has.
    torch=$(sed -n 's/^ *\(torch==[0-9.]*\)$/\1/p' setup.cfg | head -n 1)
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps --retries 1 --timeout 15 \
        --index-url https://download.pytorch.org/whl/cpu "$torch" >/dev/null 2>&1 || true
    ;;
esac
"$VENV/bin/pip" install --quiet --disable-pip-version-check --editable ".[$EXTRAS]" || fail "pip could not install the Python packages (see above)"
