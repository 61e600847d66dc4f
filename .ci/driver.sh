# shellcheck shell=bash
# NVIDIA's user-mode driver as Debian packages it, for stages to source: fetched and unpacked, never installed and
# never kept.
#
#   driver_fetch SUITE DIR   DIR/driver has libcuda, libnvidia-ml and nvidia-smi of the suite
#
# What could not be had is said in DRIVER_SKIP, with exit 1.

# shellcheck disable=SC2034 # whoever sources this reads it
DRIVER_SKIP=

driver_lacks() {
  DRIVER_SKIP=$1
  return 1
}

driver_fetch() {
  local suite=$1 dir mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ "$(uname -m)" = x86_64 ] || { driver_lacks "Debian's packages of the driver are taken for x86_64"; return; }
  command -v apt-get >/dev/null || { driver_lacks "there is no apt-get"; return; }
  # shellcheck disable=SC2016 # words of apt
  mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' 2>/dev/null | grep -E '/debian/?$' | head -n 1) || true
  { [ -n "$mirror" ] && [ -e "$key" ]; } || { driver_lacks "no mirror of Debian is configured"; return; }
  mkdir -p "$2/lists/partial" "$2/cache/archives/partial" "$2/root" "$2/driver"
  dir=$(realpath "$2")
  echo "deb [signed-by=$key] $mirror $suite non-free" >"$dir/s.list"
  cat >"$dir/apt.conf" <<APT
Dir::Etc::sourcelist "$dir/s.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir/cache";
APT::Sandbox::User "root";
APT
  (
    export APT_CONFIG=$dir/apt.conf
    cd "$dir"
    timeout 120 apt-get update && timeout 180 apt-get download libcuda1 libnvidia-ml1 nvidia-smi
  ) >"$dir/log" 2>&1 </dev/null || { cat "$dir/log"; driver_lacks "Debian's suite $suite cannot be had"; return; }
  for package in "$dir"/*.deb; do
    dpkg-deb -x "$package" "$dir/root"
  done
  cp -P "$dir"/root/usr/lib/x86_64-linux-gnu/nvidia/current/lib* "$dir"/root/usr/lib/nvidia/current/nvidia-smi "$dir/driver"
}
