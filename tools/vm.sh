#!/bin/sh
# Run a program of this repository in a virtual machine, where limits can be raised that
# cannot be raised where this one runs. It needs Debian on amd64, for a kernel.
#
#	tools/vm.sh package [argument ...]
#
# The machine has no disk and no network but loopback. What the program prints comes out
# here, and so does its exit status. MEMORY and CPUS are the machine's. It is emulated, and
# takes twenty times as long, unless ACCEL=kvm works.
set -eu

go=${GO:-go}
cd "$(dirname "$0")/.."
root=$PWD

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
for need in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio; do
	command -v "${need%:*}" >/dev/null || missing="${missing-} ${need#*:}"
done
if [ -n "${missing-}" ]; then
	# shellcheck disable=SC2086 # a list
	as_root apt-get install -y -q --no-install-recommends $missing </dev/null >&2
fi

# The kernel is unpacked, not installed.
mkdir -p bin/vm
if [ ! -e bin/vm/vmlinuz ]; then
	kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: *\(linux-image[^ ]*\)$/\1/p' | head -n 1)
	(cd bin/vm && apt-get download -q "$kernel" >&2 && dpkg-deb --fsys-tarfile "$kernel"_*.deb |
		tar -x -O --wildcards './boot/vmlinuz-*' >vmlinuz.new && rm "$kernel"_*.deb && mv vmlinuz.new vmlinuz)
fi

image=$(mktemp -d)
trap 'rm -rf "$image" "$image.img" "$image.log"' EXIT
mkdir -p "$image/bin" "$image/proc" "$image/sys" "$image/dev" "$image/tmp"
$go build -o "$image/bin/program" "$1"
shift
cp "$(command -v busybox)" "$image/bin/busybox"
# The libraries at the paths where the program finds them here.
ldd "$image/bin/program" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$image$(dirname "$library")"
	cp -L "$library" "$image$library"
done
for word; do printf '%s\n' "$word"; done >"$image/arguments"
cat >"$image/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
set --
while IFS= read -r word; do set -- "$@" "$word"; done </arguments
echo vm: begin
program "$@"
printf '\nvm: exit status %s\n' $?
poweroff -f
END
chmod +x "$image/init"
(cd "$image" && find . | cpio -o -H newc --quiet) >"$image.img"

qemu-system-x86_64 -accel "${ACCEL:-tcg}" -cpu max -smp "${CPUS:-2}" -m "${MEMORY:-4G}" \
	-nographic -no-reboot -nic none -kernel "$root/bin/vm/vmlinuz" -initrd "$image.img" \
	-append 'console=ttyS0 quiet panic=-1' </dev/null |
	sed -u 's/\r$//' | tee "$image.log" | sed -u '1,/vm: begin/d; /^vm: exit status/,$d'
status=$(sed -n 's/^vm: exit status //p' "$image.log")
exit "${status:-1}"
