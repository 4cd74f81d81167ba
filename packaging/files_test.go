package packaging

import (
	"io/fs"
	"os"
	"testing"
)

// file is the metadata that a package has of one of its files.
type file struct {
	mode   fs.FileMode
	config bool
}

// content is what the packages must contain, owned by root. The parent folders are
// the system's, except for /etc/swerve.
var content = map[string]file{
	"/etc/swerve/swerve.yaml":                           {mode: 0o644, config: true},
	"/usr/bin/swerve":                                   {mode: 0o755},
	"/usr/lib/systemd/system/swerve.service":            {mode: 0o644},
	"/usr/lib/sysusers.d/swerve.conf":                   {mode: 0o644},
	"/usr/lib/tmpfiles.d/swerve.conf":                   {mode: 0o644},
	"/usr/share/bash-completion/completions/swerve":     {mode: 0o644},
	"/usr/share/doc/swerve/API.md":                      {mode: 0o644},
	"/usr/share/doc/swerve/OPERATION.md":                {mode: 0o644},
	"/usr/share/doc/swerve/README.md":                   {mode: 0o644},
	"/usr/share/doc/swerve/copyright":                   {mode: 0o644},
	"/usr/share/doc/swerve/networkd.conf":               {mode: 0o644},
	"/usr/share/doc/swerve/reference.yaml":              {mode: 0o644},
	"/usr/share/fish/vendor_completions.d/swerve.fish":  {mode: 0o644},
	"/usr/share/zsh/" + zshOfFormat["deb"] + "/_swerve": {mode: 0o644},
}

var zshOfFormat = map[string]string{"deb": "vendor-completions", "rpm": "site-functions"}

// contentOf returns the content of a package format.
func contentOf(format string) map[string]file {
	want := map[string]file{}
	for path, f := range content {
		want[path] = f
	}
	delete(want, "/usr/share/zsh/"+zshOfFormat["deb"]+"/_swerve")
	want["/usr/share/zsh/"+zshOfFormat[format]+"/_swerve"] = file{mode: 0o644}
	return want
}

// compareContent compares the content of a package with what it should be.
func compareContent(t *testing.T, format string, got map[string]file) {
	t.Helper()
	want := contentOf(format)
	for path, f := range got {
		if want[path] != f {
			t.Errorf("%s: %s is %+v, want %+v", format, path, f, want[path])
		}
	}
	for path := range want {
		if _, ok := got[path]; !ok {
			t.Errorf("%s: %s is missing", format, path)
		}
	}
}

// The packages of a commit are the same whenever and wherever they are built.
func TestPackagesAreReproducible(t *testing.T) {
	again := t.TempDir()
	if err := makePackages(again); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"deb", "rpm"} {
		if read(t, built(t, dist, format)) != read(t, built(t, again, format)) {
			t.Errorf("a second %s differs from the first", format)
		}
	}
}

func TestScriptsParse(t *testing.T) {
	for _, script := range []string{"postinstall.sh", "preremove.sh", "postremove.sh"} {
		output(t, "sh", "-n", script)
		if _, err := os.Stat(script); err != nil {
			t.Error(err)
		}
	}
}
