package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unit has the assignments of a unit file by key, in order.
type unit map[string][]string

func parseUnit(t *testing.T, text string) unit {
	t.Helper()
	u := unit{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			t.Fatalf("the unit has the line %q", line)
		}
		u[key] = append(u[key], value)
	}
	return u
}

// last returns the effective value, that of the last assignment.
func (u unit) last(key string) string {
	if len(u[key]) == 0 {
		return ""
	}
	return u[key][len(u[key])-1]
}

func TestUnit(t *testing.T) {
	u := parseUnit(t, read(t, "swerve.service"))
	for key, want := range map[string]string{
		"ExecStart": "/usr/bin/swerve run", "Type": "notify-reload", "NotifyAccess": "main", "Restart": "always",
		"Nice": "-10",
		"User": "swerve", "Group": "swerve", "NoNewPrivileges": "yes",
		"AmbientCapabilities": "CAP_NET_ADMIN CAP_NET_RAW", "CapabilityBoundingSet": "CAP_NET_ADMIN CAP_NET_RAW",
		"RuntimeDirectory": "swerve", "RuntimeDirectoryPreserve": "yes", "StateDirectory": "swerve",
		"ProtectSystem": "strict", "ProtectHome": "yes", "MemoryDenyWriteExecute": "yes",
		"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET",
		"SystemCallFilter":        "~@privileged @resources", "WantedBy": "multi-user.target",
		"ProtectProc": "invisible", "PrivateMounts": "yes", "UMask": "0077", "MemoryMax": "256M",
		"Before":                "network.target network-online.target",
		"StartLimitIntervalSec": "0", "RestartSec": "1s", "RestartSteps": "4", "RestartMaxDelaySec": "5s",
	} {
		if got := u.last(key); got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	if got := u["SystemCallFilter"][0]; got != "@system-service" {
		t.Errorf("the filter of system calls begins with %s", got)
	}
	// Nothing waits for the network, which begins with this service.
	for _, key := range []string{"After", "Wants", "Requires"} {
		if strings.Contains(strings.Join(u[key], " "), "online") {
			t.Errorf("%s=%v waits for an uplink", key, u[key])
		}
	}
	// The uplinks' sysctls, the machine's interfaces and its network namespace must
	// stay accessible.
	for _, key := range []string{"ProtectKernelTunables", "PrivateNetwork", "DynamicUser", "ProcSubset"} {
		if got := u.last(key); got != "" {
			t.Errorf("%s=%s keeps the daemon from working", key, got)
		}
	}
	for _, key := range []string{"WatchdogSec", "RestartSec", "TimeoutStopSec"} {
		if d, err := time.ParseDuration(u.last(key)); err != nil || d <= 0 {
			t.Errorf("%s=%s: %v", key, u.last(key), err)
		}
	}
}

// systemd's own checker accepts the unit, if it is installed.
func TestSystemdAcceptsTheUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("no systemd-analyze on this machine; TestUnit has checked each key")
		return
	}
	// It requires the program to exist, which it does only where Swerve is installed.
	path := filepath.Join(t.TempDir(), "swerve.service")
	text := strings.ReplaceAll(read(t, "swerve.service"), "/usr/bin/swerve", "/bin/true")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// An older systemd goes by the lines before them, see the unit.
		older := strings.Contains(line, "ignoring: notify-reload") ||
			strings.Contains(line, "'RestartSteps'") || strings.Contains(line, "'RestartMaxDelaySec'")
		if strings.Contains(line, path) && !older {
			t.Errorf("verify: %s", line)
		}
	}
	// In tenths, of 10 at most: what is left is the network and its two capabilities.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", path).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

func TestUserAndFolders(t *testing.T) {
	user := strings.Fields(read(t, "swerve.sysusers"))
	if len(user) < 3 || !slices.Equal(user[:3], []string{"u", "swerve", "-"}) {
		t.Errorf("sysusers has %q, want u swerve - …", user)
	}
	var folders []string
	for line := range strings.Lines(read(t, "swerve.tmpfiles")) {
		folders = append(folders, strings.TrimSpace(line))
	}
	want := []string{"d /run/swerve 0755 swerve swerve -", "d /var/lib/swerve 0750 swerve swerve -"}
	if !slices.Equal(folders, want) {
		t.Errorf("tmpfiles has %q, want %q", folders, want)
	}
	u := parseUnit(t, read(t, "swerve.service"))
	if u.last("RuntimeDirectoryMode") != "0755" || u.last("StateDirectoryMode") != "0750" {
		t.Error("the unit gives the folders other modes than tmpfiles")
	}
}

// The shipped configuration and the shipped reference are valid.
func TestShippedConfigurationsAreGood(t *testing.T) {
	root := unpack(t)
	program := filepath.Join(root, "usr/bin/swerve")
	shipped := filepath.Join(root, "etc/swerve/swerve.yaml")
	output(t, program, "check", shipped)
	output(t, program, "check", filepath.Join(root, "usr/share/doc/swerve/reference.yaml"))
	if !strings.Contains(read(t, shipped), "\nuplinks: auto\n") {
		t.Error("the shipped configuration does not say uplinks: auto")
	}
	if got := output(t, program, "version"); !strings.HasPrefix(got, "swerve "+builtVersion+"\ncommit ") || strings.Contains(got, "unknown") {
		t.Errorf("version printed %q", got)
	}
}

// unpack unpacks the deb into a new root folder.
func unpack(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "dpkg-deb", "-x", built(t, dist, "deb"), root)
	return root
}
