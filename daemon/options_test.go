package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"swerve/config"
)

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swerve.yaml")
	if err := os.WriteFile(path, []byte("control: {socket: /run/x.sock}\n"+strings.TrimPrefix(twoUplinks, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Config: path}
	cfg, from, found := o.Load()
	if len(found) > 0 || from != path || len(cfg.Uplinks) != 2 {
		t.Fatalf("%+v from %s, %v", cfg, from, found)
	}
	if got := o.SocketOf(cfg); got != "/run/x.sock" {
		t.Errorf("socket %s", got)
	}
	o.Socket = "/tmp/mine"
	if got := o.SocketOf(cfg); got != "/tmp/mine" {
		t.Errorf("socket %s, want the one that was asked for", got)
	}
	if got := sysctlFile(o.Socket); got != "/tmp/sysctls.json" {
		t.Errorf("old sysctls in %s, want them beside the socket", got)
	}
}

// A file that was named must exist; without a name the defaults are used.
func TestLoadOfWhatIsNotThere(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	_, path, found := Options{Config: missing}.Load()
	if len(found) != 1 || path != missing {
		t.Errorf("a missing file that was named: %q, %v", path, found)
	}
	if _, err := os.Stat(DefaultConfig); err == nil {
		return // this machine has one
	}
	cfg, path, found := Options{}.Load()
	if len(found) > 0 || path != "" || !cfg.AutoUplinks {
		t.Errorf("without a file: %+v, %q, %v", cfg, path, found)
	}
}

func TestConfigError(t *testing.T) {
	_, found := config.Parse("a.yaml", []byte("uplinks: 1\nnonsense: 2\n"))
	err := error(&ConfigError{Problems: found})
	if !strings.Contains(err.Error(), "2 problems") || !strings.Contains(err.Error(), "a.yaml:1: uplinks") {
		t.Errorf("error: %v", err)
	}
	one := &ConfigError{Problems: found[:1]}
	if strings.Contains(one.Error(), "problems") || !strings.Contains(one.Error(), "a.yaml:1: uplinks") {
		t.Errorf("error of one problem: %v", one)
	}
}

// Mistakes in the file are found before the kernel or the socket is touched.
func TestBadFileEndsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swerve.yaml")
	if err := os.WriteFile(path, []byte(twoUplinks+"nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Config: path, Socket: filepath.Join(t.TempDir(), "s")}
	_, planned := Plan(o)
	for what, err := range map[string]error{"run": Run(t.Context(), o), "plan": planned} {
		var bad *ConfigError
		if !errors.As(err, &bad) || len(bad.Problems) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(o.Socket); err == nil {
		t.Error("there is a socket")
	}
}
