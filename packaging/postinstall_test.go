package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A daemon that does not start, because it refuses its configuration, fails no
// installation and no upgrade: the package manager would be stuck with it.
func TestPostinstallOutlivesADaemonThatDoesNotStart(t *testing.T) {
	folder := t.TempDir()
	mkdir(t, filepath.Join(folder, "proc", "1")) // which does not tell about a chroot
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

// In a chroot, with /proc or without, no script touches the machine around it: what
// runs there, its kernel, its /run. In a container that may not look at its first
// process the machine is the container.
func TestScriptsInAChroot(t *testing.T) {
	for name, proc := range map[string]string{"no proc": "", "another root": "1/root/etc", "own root": "1/root", "hidden root": "1"} {
		here := name == "own root" || name == "hidden root"
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			tools := filepath.Join(folder, "tools")
			mkdir(t, tools, filepath.Join(folder, "systemd"), filepath.Join(folder, "proc", "1"))
			switch name {
			case "no proc":
				os.RemoveAll(filepath.Join(folder, "proc"))
			case "another root":
				mkdir(t, filepath.Join(folder, "proc", proc))
			case "own root":
				if err := os.Symlink("/", filepath.Join(folder, "proc", proc)); err != nil {
					t.Fatal(err)
				}
			}
			for _, tool := range []string{"systemctl", "deb-systemd-invoke", "systemd-sysusers", "systemd-tmpfiles", "swerve", "useradd", "userdel", "groupdel", "getent", "rm"} {
				text := "#!/bin/sh\necho " + tool + " \"$@\" >>" + folder + "/calls\nexit 1\n"
				if err := os.WriteFile(filepath.Join(tools, tool), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, call := range [][]string{{"postinstall.sh", "configure"}, {"postinstall.sh", "configure", "1"}, {"postinstall.sh", "1"},
				{"postinstall.sh", "2"}, {"preremove.sh", "remove"}, {"preremove.sh", "0"}, {"preremove.sh", "upgrade", "2"}, {"postremove.sh", "remove"}} {
				script := strings.NewReplacer("/run/systemd/system", folder+"/systemd", "/proc/1", folder+"/proc/1").Replace(read(t, call[0]))
				cmd := exec.Command("sh", append([]string{"-c", script, "script"}, call[1:]...)...)
				cmd.Env = []string{"PATH=" + tools + ":" + os.Getenv("PATH")}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %v\n%s", call, err, out)
				}
			}
			calls := read(t, filepath.Join(folder, "calls"))
			for _, word := range []string{"swerve teardown", "systemctl stop", "systemctl daemon-reload", "restart swerve"} {
				if strings.Contains(calls, word) != here {
					t.Errorf("%q was called: %v, want %v:\n%s", word, !here, here, calls)
				}
			}
		})
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
	for _, tool := range []string{"sh", "rm", "cat", "getent", "useradd", "userdel", "groupdel"} {
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
		"etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/group": "root:x:0:\n", "var/lib/dpkg/status": "", "dev/null": "",
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
