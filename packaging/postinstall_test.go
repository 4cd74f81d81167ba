package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A daemon that does not start, because it refuses its configuration, fails no
// installation and no upgrade: the package manager would be stuck with it.
func TestPostinstallOutlivesADaemonThatDoesNotStart(t *testing.T) {
	folder := t.TempDir()
	machine(t, folder)
	script := strings.NewReplacer("/run/systemd/system", folder, "/proc/1", folder+"/proc/1").Replace(read(t, "postinstall.sh"))
	// Enabled, but nothing that starts or reloads succeeds.
	const systemctl = "#!/bin/sh\n[ \"$1\" = is-enabled ] || [ \"$1\" = preset ] && exit 0\nexit 1\n"
	for name, text := range map[string]string{
		"systemctl": systemctl, "deb-systemd-invoke": systemctl, "systemd-sysusers": "#!/bin/sh\n", "systemd-tmpfiles": "#!/bin/sh\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"configure"}, {"configure", "1.0"}, {"1"}, {"2"}} {
		cmd := exec.Command("sh", append([]string{"-c", script, "postinst"}, args...)...)
		cmd.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("postinst %v: %v\n%s", args, err, out)
		}
		if starts := args[0] != "1"; starts != strings.Contains(string(out), "did not start") {
			t.Errorf("postinst %v says %q", args, out)
		}
	}
}

// machine gives a folder the /proc/1 of a machine: systemd, with this root.
func machine(t *testing.T, folder string) {
	t.Helper()
	mkdir(t, filepath.Join(folder, "proc/1"), filepath.Join(folder, "systemd"))
	write(t, filepath.Join(folder, "proc/1/comm"), "systemd\n")
	if err := os.Symlink("/", filepath.Join(folder, "proc/1/root")); err != nil {
		t.Fatal(err)
	}
}

// tools are the programs that the scripts call; each writes down how it is called, and
// fails as most of them do without a systemd.
var tools = []string{"systemctl", "deb-systemd-invoke", "systemd-sysusers", "systemd-tmpfiles", "swerve", "useradd", "userdel", "usermod",
	"groupdel", "getent", "rm", "rmdir", "mkdir", "grep"}

// runScript runs a script with the tools in the place of the real ones, on the machine that a
// folder describes, and returns what was called and said.
func runScript(t *testing.T, folder string, env []string, call ...string) string {
	t.Helper()
	bin := filepath.Join(folder, "tools")
	mkdir(t, bin)
	for _, tool := range tools {
		text := "#!/bin/sh\necho " + tool + " \"$@\" >>" + folder + "/calls\n[ \"$1\" = is-enabled ] || [ " + tool + " = rm ] && exit 0\nexit 1\n"
		if err := os.WriteFile(filepath.Join(bin, tool), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(folder, "calls"), "")
	script := strings.NewReplacer("/run/systemd/system", folder+"/systemd", "/proc/1", folder+"/proc/1").Replace(read(t, call[0]))
	cmd := exec.Command("sh", append([]string{"-c", script, "script"}, call[1:]...)...)
	cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v\n%s", call, err, out)
	}
	return read(t, filepath.Join(folder, "calls")) + string(out)
}

// In a chroot, with /proc or without, no script touches the machine around it: what
// runs there, its kernel, its /run. Nor does one where nothing shows that the machine is
// this root's, such as in a container inside of another, whose first process hides its root.
func TestScriptsInAChroot(t *testing.T) {
	own := read(t, "/proc/self/mountinfo")
	for name, c := range map[string]struct {
		change func(folder string)
		here   bool
	}{
		"own root": {func(string) {}, true},
		"no proc":  {func(f string) { os.RemoveAll(filepath.Join(f, "proc")) }, false},
		"another root": {func(f string) {
			os.Remove(filepath.Join(f, "proc/1/root"))
			mkdir(t, filepath.Join(f, "proc/1/root/etc"))
		}, false},
		"no systemd":  {func(f string) { write(t, filepath.Join(f, "proc/1/comm"), "sh\n") }, false},
		"hidden root": {func(f string) { os.Remove(filepath.Join(f, "proc/1/root")) }, false},
		"hidden root, the same mount": {func(f string) {
			os.Remove(filepath.Join(f, "proc/1/root"))
			write(t, filepath.Join(f, "proc/1/mountinfo"), own)
		}, true},
		"hidden root, another mount": {func(f string) {
			os.Remove(filepath.Join(f, "proc/1/root"))
			write(t, filepath.Join(f, "proc/1/mountinfo"), "22 1 0:4242 / / rw - overlay overlay rw\n")
		}, false},
		"not booted": {func(f string) { os.Remove(filepath.Join(f, "systemd")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			machine(t, folder)
			c.change(folder)
			var calls string
			for _, call := range [][]string{{"postinstall.sh", "configure"}, {"postinstall.sh", "configure", "1"}, {"postinstall.sh", "1"},
				{"postinstall.sh", "2"}, {"postinstall.sh", "abort-remove"}, {"preremove.sh", "remove"}, {"preremove.sh", "0"},
				{"preremove.sh", "upgrade", "2"}, {"postremove.sh", "remove"}} {
				calls += runScript(t, folder, nil, call...)
			}
			for _, word := range []string{"swerve teardown", "systemctl stop", "systemctl daemon-reload", "restart swerve", "start swerve.service"} {
				if strings.Contains(calls, word) != c.here {
					t.Errorf("%q was called: %v, want %v:\n%s", word, !c.here, c.here, calls)
				}
			}
		})
	}
}

// Every call of Debian's policy, and what it does to the daemon on a machine: only a removal
// stops it, and what is given up starts it again.
func TestDebianCalls(t *testing.T) {
	const stop, start, restart = "systemctl stop swerve", "deb-systemd-invoke start swerve", "deb-systemd-invoke restart swerve"
	for _, c := range []struct {
		call string
		want string // of the daemon; empty for nothing
	}{
		{"postinstall.sh configure", restart}, {"postinstall.sh configure 1.0", restart},
		{"postinstall.sh abort-upgrade 2.0", start}, {"postinstall.sh abort-remove", start},
		{"postinstall.sh abort-remove in-favour foo 1", start}, {"postinstall.sh abort-deconfigure in-favour foo 1", start},
		{"postinstall.sh abort-deconfigure in-favour foo 1 removing bar 2", start}, {"postinstall.sh triggered x", ""},
		{"preremove.sh remove", stop}, {"preremove.sh remove in-favour foo 1", stop}, {"preremove.sh upgrade 2.0", ""},
		{"preremove.sh failed-upgrade 1.0 2.0", ""}, {"preremove.sh deconfigure in-favour foo 1", ""},
		{"preremove.sh deconfigure in-favour foo 1 removing bar 2", ""},
		{"postremove.sh remove", ""}, {"postremove.sh upgrade 2.0", ""}, {"postremove.sh failed-upgrade 1.0 2.0", ""},
		{"postremove.sh abort-install", ""}, {"postremove.sh abort-upgrade 1.0 2.0", ""}, {"postremove.sh disappear foo 1", ""},
	} {
		folder := t.TempDir()
		machine(t, folder)
		calls := runScript(t, folder, nil, strings.Fields(c.call)...)
		for _, word := range []string{stop, start, restart} {
			if strings.Contains(calls, word) != (word == c.want) {
				t.Errorf("%s: %q is not %q alone:\n%s", c.call, word, c.want, calls)
			}
		}
		if torn := strings.Contains(calls, "swerve teardown"); torn != (c.want == stop) {
			t.Errorf("%s: teardown %v", c.call, torn)
		}
		if !strings.HasPrefix(c.call, "postinstall") && (strings.Contains(calls, "userdel") || strings.Contains(calls, "rm -rf")) {
			t.Errorf("%s removes what only a purge may:\n%s", c.call, calls)
		}
	}
}

// dpkg without chroot works on another root from outside: every program is told of that
// root, and none touches this machine.
func TestScriptsWithoutChroot(t *testing.T) {
	folder, root := t.TempDir(), t.TempDir()
	machine(t, folder)
	mkdir(t, filepath.Join(root, "etc"))
	for _, call := range []string{"postinstall.sh configure", "postinstall.sh configure 1.0", "postinstall.sh abort-remove",
		"preremove.sh remove", "postremove.sh remove", "postremove.sh purge"} {
		calls := runScript(t, folder, []string{"DPKG_ROOT=" + root}, strings.Fields(call)...)
		for line := range strings.Lines(calls) {
			if !strings.HasPrefix(line, "swerve: ") && slices.Contains(tools, strings.Fields(line + " x")[0]) && !strings.Contains(line, root) {
				t.Errorf("%s: %q is about this machine", call, line)
			}
		}
		if !strings.Contains(calls, root) && !strings.HasSuffix(call, "remove") {
			t.Errorf("%s did nothing to the other root:\n%s", call, calls)
		}
	}
}

// A purge removes the accounts that the package made and no others, whatever they are; a
// package that kept no record of them removes what looks as if it had made it.
func TestPurgeOfAccounts(t *testing.T) {
	const (
		system  = "swerve:x:998:998::/var/lib/swerve:/usr/sbin/nologin\n"
		person  = "swerve:x:1500:1500::/home/swerve:/bin/bash\n"
		super   = "swerve:x:0:0::/root:/bin/bash\n"
		group   = "swerve:x:998:\n"
		members = "swerve:x:998:bob\n"
	)
	for name, c := range map[string]struct {
		passwd, group string // before the first installation
		record        bool   // that it kept one
		user, left    bool   // of the user and the group after the purge
		said          string
	}{
		"none":                  {record: true},
		"a person":              {passwd: person, group: "swerve:x:1500:\n", record: true, user: true, left: true, said: "the user swerve was here before"},
		"uid 0":                 {passwd: super, record: true, user: true, said: "the user swerve was here before"},
		"a system user":         {passwd: system, group: group, record: true, user: true, left: true, said: "the user swerve was here before"},
		"a group":               {group: members, record: true, left: true, said: "the group swerve was here before"},
		"an empty group":        {group: group, record: true, left: true, said: "the group swerve was here before"},
		"old package":           {passwd: system, group: group},
		"old, a person":         {passwd: person, group: "swerve:x:1500:\n", user: true, left: true},
		"old, uid 0":            {passwd: super, user: true},
		"old, group of others":  {passwd: system, group: members, left: true},
		"old, home is not ours": {passwd: "swerve:x:998:998::/srv:/usr/sbin/nologin\n", group: "swerve:x:998:\n", user: true, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			root, _ := chroot(t)
			write(t, filepath.Join(root, "etc/passwd"), read(t, filepath.Join(root, "etc/passwd"))+c.passwd)
			write(t, filepath.Join(root, "etc/group"), read(t, filepath.Join(root, "etc/group"))+c.group)
			said := in(t, root, "postinstall.sh", map[bool][]string{true: {"configure"}, false: {"configure", "1.0"}}[c.record]...)
			if c.said == "" && strings.Contains(said, "was here before") || !strings.Contains(said, c.said) {
				t.Errorf("the installation says %q, want %q", said, c.said)
			}
			if !strings.Contains(read(t, filepath.Join(root, "etc/passwd")), "\nswerve:") {
				t.Errorf("there is no user:\n%s", said)
			}
			said = in(t, root, "postremove.sh", "purge")
			if got := strings.Contains(read(t, filepath.Join(root, "etc/passwd")), "\nswerve:"); got != c.user {
				t.Errorf("the user is there: %v, want %v\n%s", got, c.user, said)
			}
			if got := strings.Contains(read(t, filepath.Join(root, "etc/group")), "\nswerve:"); got != c.left {
				t.Errorf("the group is there: %v, want %v\n%s", got, c.left, said)
			}
			if left := output(t, "find", root, "-name", "*swerve*", "-not", "-name", "*.sh"); left != "" {
				t.Errorf("it left %s", left)
			}
		})
	}
}

// An rpm leaves the user behind when it is erased, and does not take it for another's when
// it is installed again; it says so of a person's.
func TestRPMScriptOnAccounts(t *testing.T) {
	for passwd, want := range map[string]bool{
		"": false, "swerve:x:998:998::/var/lib/swerve:/usr/sbin/nologin\n": false, "swerve:x:1500:1500::/home/swerve:/bin/bash\n": true,
	} {
		root, _ := chroot(t)
		write(t, filepath.Join(root, "etc/passwd"), read(t, filepath.Join(root, "etc/passwd"))+passwd)
		if said := in(t, root, "postinstall.sh", "1"); strings.Contains(said, "the user swerve was here before") != want {
			t.Errorf("with %q it says %q", passwd, said)
		}
	}
}

// What another package breaks is deconfigured, and taken back if that package cannot be
// installed; a removal after it is a removal.
func TestDpkgDeconfigures(t *testing.T) {
	root, _ := chroot(t)
	dpkg := func(args ...string) (string, error) {
		args = append([]string{"--root=" + root, "--force-depends", "--auto-deconfigure", "--log=/dev/null"}, args...)
		out, err := exec.Command("dpkg", args...).CombinedOutput()
		return string(out), err
	}
	status := func() string {
		return output(t, "dpkg-query", "--admindir="+root+"/var/lib/dpkg", "-W", "-f", "${Status}", "swerve")
	}
	breaks := func(preinst string) string {
		folder := t.TempDir()
		mkdir(t, filepath.Join(folder, "DEBIAN"))
		write(t, filepath.Join(folder, "DEBIAN/control"), "Package: foo\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nBreaks: swerve\nDescription: x\n")
		script := filepath.Join(folder, "DEBIAN/preinst")
		write(t, script, preinst)
		if err := os.Chmod(script, 0o755); err != nil {
			t.Fatal(err)
		}
		output(t, "dpkg-deb", "-b", folder, folder+".deb")
		return folder + ".deb"
	}
	if out, err := dpkg("-i", built(t, dist, "deb")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := dpkg("--unpack", breaks("#!/bin/sh\nexit 1\n")); err == nil || status() != "install ok installed" {
		t.Errorf("after a package that fails it is %q (%v)\n%s", status(), err, out)
	}
	const removed = "nothing is stopped or taken out of the kernel"
	if out, err := dpkg("--unpack", breaks("#!/bin/sh\nexit 0\n")); err != nil || status() == "install ok installed" || strings.Contains(out, removed) {
		t.Errorf("after a package that breaks it, it is %q (%v)\n%s", status(), err, out)
	}
	if out, err := dpkg("-r", "swerve"); err != nil || !strings.Contains(out, removed) {
		t.Errorf("a removal then: %v\n%s", err, out)
	}
}

// in runs a script in a chroot, and returns what it says.
func in(t *testing.T, root, script string, args ...string) string {
	t.Helper()
	write(t, filepath.Join(root, "tmp", script), read(t, script))
	out, err := exec.Command("chroot", append([]string{root, "/bin/sh", "/tmp/" + script}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", script, args, err, out)
	}
	return string(out)
}

// What the scripts have in common is the same in all of them.
func TestScriptsAgree(t *testing.T) {
	function := func(script, name string) string {
		_, text, _ := strings.Cut(read(t, script), "\n"+name+"() {\n")
		text, _, _ = strings.Cut(text, "\n}")
		return text
	}
	for _, c := range []struct{ name, one, other string }{
		{"root_of", "postinstall.sh", "preremove.sh"}, {"root_of", "postinstall.sh", "postremove.sh"},
		{"on_machine", "postinstall.sh", "preremove.sh"}, {"on_machine", "postinstall.sh", "postremove.sh"}, {"entry", "postinstall.sh", "postremove.sh"},
	} {
		if one, other := function(c.one, c.name), function(c.other, c.name); one == "" || one != other {
			t.Errorf("%s of %s is\n%s\nof %s\n%s", c.name, c.one, one, c.other, other)
		}
	}
}

func mkdir(t *testing.T, folders ...string) {
	t.Helper()
	for _, f := range folders {
		if err := os.MkdirAll(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// chroot returns a folder with the few programs that a package's scripts use, no
// systemd and no /proc, and its content.
func chroot(t *testing.T) (root, before string) {
	t.Helper()
	root = t.TempDir()
	mkdir(t, filepath.Join(root, "var/lib/dpkg/info"), filepath.Join(root, "var/lib/dpkg/updates"), filepath.Join(root, "bin"),
		filepath.Join(root, "etc"), filepath.Join(root, "tmp"), filepath.Join(root, "dev"))
	for _, tool := range []string{"sh", "rm", "rmdir", "mkdir", "cat", "grep", "getent", "useradd", "userdel", "usermod", "groupdel"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			path = "/usr/sbin/" + tool
		}
		output(t, "cp", "-L", "--parents", path, root)
		for _, word := range strings.Fields(output(t, "ldd", path)) {
			if strings.HasPrefix(word, "/") {
				output(t, "cp", "-L", "--parents", word, root)
			}
		}
	}
	output(t, "cp", "/bin/sh", filepath.Join(root, "bin/sh"))
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/group": "root:x:0:\nnogroup:x:65534:\n", "var/lib/dpkg/status": "", "dev/null": "",
	} {
		write(t, filepath.Join(root, name), text)
	}
	return root, tree(t, root)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// swerveUser reports whether a root folder has the user swerve.
func swerveUser(t *testing.T, root string) bool {
	t.Helper()
	return strings.Contains(read(t, filepath.Join(root, "etc/passwd"))+read(t, filepath.Join(root, "etc/group")), "\nswerve:")
}

// dpkg installs, upgrades, removes and purges the package in a chroot, with a
// configuration that was changed in between; after the purge nothing of it is left.
func TestDpkgInAChroot(t *testing.T) {
	root, before := chroot(t)
	dpkg := func(args ...string) {
		args = append([]string{"--root=" + root, "--force-depends", "--force-confold", "--log=/dev/null"}, args...)
		if out, err := exec.Command("dpkg", args...).CombinedOutput(); err != nil {
			t.Fatalf("dpkg %v: %v\n%s", args, err, out)
		}
	}
	deb := built(t, dist, "deb")
	status := func(want string) {
		t.Helper()
		if got := output(t, "dpkg-query", "--admindir="+root+"/var/lib/dpkg", "-W", "-f", "${Status}", "swerve"); got != want {
			t.Errorf("the package is %q, want %q", got, want)
		}
	}
	dpkg("-i", deb)
	status("install ok installed")
	if !swerveUser(t, root) {
		t.Error("there is no user swerve")
	}
	write(t, filepath.Join(root, "etc/swerve/swerve.yaml"), "uplinks: refused\n")
	dpkg("-i", deb)
	status("install ok installed")
	if read(t, filepath.Join(root, "etc/swerve/swerve.yaml")) != "uplinks: refused\n" {
		t.Error("the upgrade has replaced the configuration")
	}
	dpkg("-r", "swerve")
	status("deinstall ok config-files")
	dpkg("-P", "swerve")
	if after := tree(t, root); after != before {
		t.Errorf("purge left\n%s\nwant\n%s", after, before)
	}
	if swerveUser(t, root) {
		t.Error("purge left the user")
	}
}

// rpm installs, upgrades and erases the package in a chroot. A configuration that was
// changed stays, under another name at the end.
func TestRPMInAChroot(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Log("no rpm on this machine; TestRPM has checked the package's content")
		return
	}
	root, before := chroot(t)
	newer := t.TempDir()
	if err := makePackages(newer, "VERSION=1.2.4"); err != nil {
		t.Fatal(err)
	}
	rpm := func(args ...string) {
		t.Helper()
		args = append([]string{"--root=" + root, "--dbpath=/var/lib/rpm"}, args...)
		if out, err := exec.Command("rpm", args...).CombinedOutput(); err != nil || strings.Contains(string(out), "scriptlet failed") {
			t.Fatalf("rpm %v: %v\n%s", args, err, out)
		}
	}
	rpm("-i", "--nodeps", built(t, dist, "rpm"))
	if !swerveUser(t, root) {
		t.Error("there is no user swerve")
	}
	rpm("-V", "--nodeps", "swerve")
	config := filepath.Join(root, "etc/swerve/swerve.yaml")
	write(t, config, "uplinks: refused\n")
	rpm("-U", "--nodeps", built(t, newer, "rpm"))
	if read(t, config) != "uplinks: refused\n" {
		t.Error("the upgrade has replaced the configuration")
	}
	rpm("-e", "swerve")
	kept := config + ".rpmsave"
	if read(t, kept) != "uplinks: refused\n" {
		t.Error("the configuration was not kept")
	}
	output(t, "rm", "-r", filepath.Dir(kept), filepath.Join(root, "var/lib/rpm"))
	if after := tree(t, root); after != before {
		t.Errorf("rpm left\n%s\nwant\n%s", after, before)
	}
}

// tree lists the files below a folder, without those that dpkg and useradd keep.
func tree(t *testing.T, root string) string {
	t.Helper()
	return output(t, "sh", "-c", "cd "+root+" && find . -path ./var/lib/dpkg -prune -o -path './etc/*' -type f ! -path './etc/swerve/*' -prune -o ! -path './usr/share*' ! -type d -print | sort; find . -name '*swerve*'")
}
