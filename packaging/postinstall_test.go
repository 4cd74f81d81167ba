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
	script := strings.ReplaceAll(read(t, "postinstall.sh"), "/run/systemd/system", folder)
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
		if starts := args[0] != "1"; starts != strings.Contains(string(out), "swerve check") {
			t.Errorf("postinst %v says %q", args, out)
		}
	}
}
