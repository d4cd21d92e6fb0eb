#!/bin/bash
# box.sh [-t SECONDS] [-w DIR]… -k KERNEL [--] COMMAND [ARGUMENT…]
#
# Runs COMMAND in a private User-Mode Linux that sees the machine's whole file system, copy on write: what it writes
# vanishes, but for what is below the directories named with -w.  Output and exit status pass through, apart from each
# other.  It has no network device but lo, so nothing can leave it.  124: it took longer than SECONDS (600); 125: the
# kernel ended first, and its console is on stderr.
set -u
limit=600 memory=1024M kernel='' kept=()
while getopts t:w:k: option; do case $option in
  t) limit=$OPTARG;; w) kept+=("$(realpath -- "$OPTARG")");; k) kernel=$OPTARG;; *) exit 125;;
esac; done
shift $((OPTIND - 1))

box=$(mktemp -d "${TMPDIR:-/tmp}/roost-box.XXXXXX") || exit 125
pid=
cleanup() {
  trap - EXIT
  [ -z "$pid" ] || kill -KILL -- "-$pid" 2>/dev/null
  exec 3>&- 4>&- 2>/dev/null
  rm -rf -- "$box"
}
trap cleanup EXIT
trap 'cleanup; exit 130' INT; trap 'cleanup; exit 143' TERM; trap 'cleanup; exit 129' HUP

# What the guest needs to know, as files that its bash can source.
printf '%q ' "$@" >"$box/command"
export -p >"$box/environment"
{ printf 'box=%q cwd=%q kept=(' "$box" "$PWD"; [ ${#kept[@]} -eq 0 ] || printf '%q ' "${kept[@]}"; printf ')\n'; } >"$box/variables"

cat >"$box/init" <<'INIT'
#!/bin/bash
# Process 1 of the guest, on the machine's own root, read-only: an overlay of it becomes the root.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
off() { sync; echo o >/proc/sysrq-trigger; while :; do read -t 5 <>/dev/tty0; done; }
. "${0%/*}/variables"
mount -t proc -o nosuid,nodev,noexec proc /proc
trap off EXIT
new=/dev/.box                                  # the only place that can be written so far
mkdir $new && mount -t tmpfs -o mode=755,size=100% box $new && mkdir $new/upper $new/work $new/root &&
mount -t overlay -o lowerdir=/,upperdir=$new/upper,workdir=$new/work box $new/root || exit
root=$new/root
mount -t proc -o nosuid,nodev,noexec proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t tmpfs -o mode=755,nosuid tmpfs $root/run; mkdir -p $root/run/lock $root/run/netns
mount -t devtmpfs devtmpfs $root/dev
mkdir -p $root/dev/pts $root/dev/shm $root/dev/net
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts $root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
[ -e $root/dev/fd ] || ln -s /proc/self/fd $root/dev/fd
[ -c $root/dev/net/tun ] || mknod $root/dev/net/tun c 10 200
for directory in "$box" "${kept[@]}"; do mount -t hostfs -o "$directory" hostfs "$root$directory"; done
cd $root && mkdir -p .old && pivot_root . .old && exec /bin/bash "$box/init2" <>/dev/tty0 >&0 2>&1
INIT
cat >"$box/init2" <<'INIT'
off() { sync; echo o >/proc/sysrq-trigger; while :; do sleep 1; done; }
trap off EXIT
. "${0%/*}/variables"
mount --make-rprivate /; umount -l /.old; rmdir /.old
ip link set lo up
stty raw -echo </dev/ttyS0; stty raw -echo </dev/ttyS1
# Pipes, not terminals, are what COMMAND sees.
exec 8>/dev/ttyS0 9>/dev/ttyS1
mkfifo /run/.out /run/.err
cat </run/.out >&8 & out=$!
cat </run/.err >&9 & err=$!
(
  exec </dev/null >/run/.out 2>/run/.err 8>&- 9>&-
  set -a; . "$box/environment"; set +a
  export ROOST_KERNEL_BOX=1
  cd "$cwd" || exit 125
  eval "exec $(<"$box/command")"
)
status=$?
# What COMMAND left running ends with it; then the cats come to their end, however slow the reader outside.
for p in /proc/[0-9]*; do p=${p#/proc/}; case $p in 1|$$|$out|$err) ;; *) [ ! -e /proc/$p/exe ] || kill -KILL $p;; esac; done 2>/dev/null
wait $out $err
stty -F /dev/ttyS0 raw; stty -F /dev/ttyS1 raw      # these drain the line
echo $status >"$box/status.new" && mv "$box/status.new" "$box/status"
INIT
chmod 755 "$box/init" "$box/init2"

mkfifo "$box/out" "$box/err"
cat <"$box/out" & out=$!
cat <"$box/err" >&2 & err=$!
exec 3>"$box/out" 4>"$box/err"
arguments=(mem="$memory" umid="box$$" uml_dir="$box/uml" root=/dev/root rootfstype=hostfs hostfs=/ ro noreboot quiet
  init="$box/init" con0=null,fd:1 con=null ssl=null ssl0=null,fd:3 ssl1=null,fd:4 panic=-1 random.trust_bootloader=on)
# One CPU only: the guest's processes and their tracer otherwise wake each other across CPUs, three times slower.
cpus=()
for range in $(taskset -cp $$ | sed 's/.*: //; s/,/ /g'); do cpus+=($(seq "${range%-*}" "${range#*-}")); done
# A process namespace of its own: whatever happens to this script, nothing of the box stays. The kernel must not be
# process 1 there: a panic ends in abort(), which process 1 ignores, for ever.
chain=(taskset -c "${cpus[$$ % ${#cpus[@]}]}" unshare --pid --fork --kill-child bash -c '"$@"; exit $?' box)
ulimit -c 0
# A process group of its own, which one kill ends; and each link of the chain dies with the one before it.
setpriv --pdeathsig KILL setsid timeout -s KILL "$limit" setpriv --pdeathsig KILL \
  "${chain[@]}" "$kernel" "${arguments[@]}" >"$box/console" 2>&1 </dev/null &
pid=$!
exec 3>&- 4>&-
{ wait "$pid"; ended=$?; } 2>/dev/null
wait "$out" "$err"
if [ -f "$box/status" ]; then exit "$(<"$box/status")"; fi
if [ $ended = 124 ] || [ $ended = 137 ]; then echo "box: ended after $limit s" >&2; exit 124; fi
echo "box: the kernel ended (status $ended) before the command did:" >&2
tail -n 40 "$box/console" >&2
exit 125
