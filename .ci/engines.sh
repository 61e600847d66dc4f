# shellcheck shell=bash disable=SC2016 # hooks and namespaces have shells of their own
# Container engines for stages to source: dockerd with BuildKit, buildah, and a registry on loopback, all from a
# Debian root of their own, because a runner's distribution may have none or old ones. Nothing is installed but
# mmdebstrap and the registry; everything else is below one folder, and gone with `engine_down`.
#
#   engine_up DIR        DOCKER_HOST, DOCKER_CONFIG, a `docker` on the PATH, ENGINE_REGISTRY (host:port)
#                        ENGINE_ALSO=podman,... are further packages of its root
#   engine_down          ends what was started here, by its id, and removes DIR's images
#   engine_root SUITE TAR PACKAGE[,PACKAGE...]   a Debian root as an archive, with this machine's authorities
#   in_engine COMMAND... becomes a command of the root (buildah), which sees DIR where it is
#
# What of the surroundings could not be had is said in ENGINE_SKIP, with exit 1.

# shellcheck disable=SC2034 # whoever sources this reads it
ENGINE_SKIP=
ENGINE_CA=/etc/ssl/certs/ca-certificates.crt
engine_pids=()

engine_lacks() {
  ENGINE_SKIP=$1
  return 1
}

engine_tools() {
  local wanted=()
  command -v mmdebstrap >/dev/null || wanted+=(mmdebstrap)
  command -v docker-registry >/dev/null || wanted+=(docker-registry)
  [ ${#wanted[@]} -eq 0 ] && return
  { timeout 120 apt-get update && timeout 240 apt-get install -y --no-install-recommends "${wanted[@]}"; } \
    >"$engine/apt.log" 2>&1 </dev/null || engine_lacks "${wanted[*]} cannot be installed"
}

# engine_debian SUITE TARGET PACKAGES [FLAG...]: tried twice, because one file in hundreds fails now and then.
# In the foreground: what ends the stage ends this too, and its cleaning up is not kept waiting.
engine_debian() {
  local suite=$1 target=$2 packages=$3
  shift 3
  for _ in 1 2; do
    rm -rf --one-file-system "$target"
    # What apt leaves behind would count as part of an image.
    timeout --foreground --kill-after=10 400 mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
      --include="ca-certificates,$packages" "$@" \
      --customize-hook='rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*' "$suite" "$target" \
      >"$engine/debian.log" 2>&1 </dev/null && return
  done
  tail -n 5 "$engine/debian.log" >&2
  engine_lacks "a root of Debian $suite cannot be made"
}

engine_root() {
  # apt keeps nothing of what it fetched: so are the official images set up.
  printf 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nDPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };\n' \
    >"$engine/docker-clean"
  engine_debian "$@" --customize-hook="copy-in $ENGINE_CA /etc/ssl/certs" \
    --customize-hook="copy-in $engine/docker-clean /etc/apt/apt.conf.d"
}

# In mount and process namespaces of its own: when the first process ends, mounts and children are gone.
in_engine() {
  exec unshare --mount --pid --fork --kill-child bash -euc '
    root=$1 dir=$2
    shift 2
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mkdir -p "$root$dir"
    mount --bind "$dir" "$root$dir"
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR="$dir/tmp" \
      CONTAINERS_CONF="$dir/containers.conf" CONTAINERS_REGISTRIES_CONF="$dir/registries.conf" \
      CONTAINERS_STORAGE_CONF="$dir/storage.conf" "$@"
  ' _ "$engine_base" "$engine" "$@"
}

engine_port() {
  python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

engine_up() {
  mkdir -p "$1/tmp" "$1/docker" "$1/config/cli-plugins" "$1/bin"
  engine=$(cd "$1" && pwd -P)
  # Outside of the folder that is bound into it.
  engine_base=$engine.root
  engine_tools || return
  [ "$(id -u)" = 0 ] || { engine_lacks "namespaces and mounts need root"; return; }
  if [ ! -x "$engine_base/usr/sbin/dockerd" ]; then
    engine_debian forky "$engine_base" "docker.io,docker-cli,docker-buildx,runc,iptables,buildah,netavark${ENGINE_ALSO:+,$ENGINE_ALSO}" || return
  fi
  cp "$ENGINE_CA" "$engine_base$ENGINE_CA"
  cp /etc/resolv.conf "$engine_base/etc/resolv.conf"
  cp "$engine_base/usr/libexec/docker/cli-plugins/docker-buildx" "$engine/config/cli-plugins/"
  ln -sf "$engine_base/usr/bin/docker" "$engine/bin/docker"
  export PATH=$engine/bin:$PATH

  local port
  port=$(engine_port)
  ENGINE_REGISTRY=127.0.0.1:$port
  printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s/images}, delete: {enabled: true}}\nhttp: {addr: "%s", secret: no-secret}\n' \
    "$engine" "$ENGINE_REGISTRY" >"$engine/registry.yml"
  docker-registry serve "$engine/registry.yml" >"$engine/registry.log" 2>&1 </dev/null &
  engine_pids+=($!)

  # buildah's own settings. Its default limits cannot be set where this runs in a container without CAP_SYS_RESOURCE.
  printf '[containers]\ndefault_ulimits = ["nofile=16384:16384", "nproc=32768:32768"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n' \
    >"$engine/containers.conf"
  printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$ENGINE_REGISTRY" >"$engine/registries.conf"
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/buildah"\nrunroot = "/run/buildah"\n' "$engine" >"$engine/storage.conf"

  # containerd's image store, because the older one writes no archives and keeps every timestamp. No bridge and no
  # packet filter: a machine's own are left alone, so builds that fetch say `--network host`.
  printf '{"features": {"containerd-snapshotter": true}}\n' >"$engine/daemon.json"
  in_engine dockerd --config-file "$engine/daemon.json" -H "unix://$engine/docker.sock" --data-root "$engine/docker" \
    --exec-root "/run/docker" --pidfile /run/docker.pid --bridge=none --iptables=false --ip6tables=false \
    >"$engine/dockerd.log" 2>&1 </dev/null &
  engine_pids+=($!)
  export DOCKER_HOST=unix://$engine/docker.sock DOCKER_CONFIG=$engine/config
  for _ in $(seq 120); do
    timeout 10 docker version >"$engine/version" 2>&1 && break
    sleep 0.5
  done
  timeout 10 docker version >"$engine/version" 2>&1 || {
    tail -n 20 "$engine/dockerd.log" >&2
    engine_lacks "dockerd does not start here"
    return
  }
  timeout 10 python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)' "$port" \
    2>/dev/null || engine_lacks "the registry does not start here"
}

engine_down() {
  local pid
  for pid in "${engine_pids[@]}"; do
    # dockerd is the child: it ends its own containers when it is asked to.
    pkill -TERM -P "$pid" 2>/dev/null || kill "$pid" 2>/dev/null || true
  done
  for pid in "${engine_pids[@]}"; do
    for _ in $(seq 40); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.5
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  engine_pids=()
  [ -z "${engine:-}" ] || rm -rf --one-file-system "$engine" "$engine_base"
}
