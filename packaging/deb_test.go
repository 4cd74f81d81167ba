package packaging

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestDeb(t *testing.T) {
	deb := built(t, dist, "deb")
	control := t.TempDir()
	output(t, "dpkg-deb", "-e", deb, control)
	compareContent(t, "deb", debContent(t, deb, read(t, filepath.Join(control, "conffiles"))))
	for script, source := range map[string]string{
		"postinst": "postinstall.sh", "prerm": "preremove.sh", "postrm": "postremove.sh",
	} {
		if read(t, filepath.Join(control, script)) != read(t, source) {
			t.Errorf("%s is not %s", script, source)
		}
		if info, err := os.Stat(filepath.Join(control, script)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v, want mode 0755", script, info, err)
		}
	}
}

// debContent returns the files of a deb, and checks the owners and times of all
// entries.
func debContent(t *testing.T, deb, conffiles string) map[string]file {
	t.Helper()
	got := map[string]file{}
	for r := tar.NewReader(strings.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", deb))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(h.Name, ".")
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || h.Gname != "root" {
			t.Errorf("%s is of %d:%d, %s:%s, want root's", path, h.Uid, h.Gid, h.Uname, h.Gname)
		}
		if !h.ModTime.Equal(time.Unix(builtEpoch, 0)) {
			t.Errorf("%s is from %v, want the commit's time", path, h.ModTime)
		}
		if h.Typeflag == tar.TypeDir {
			if h.FileInfo().Mode().Perm() != 0o755 {
				t.Errorf("%s has mode %v, want 0755", path, h.FileInfo().Mode())
			}
			continue
		}
		if h.Typeflag != tar.TypeReg {
			t.Errorf("%s is not a regular file", path)
		}
		got[path] = file{mode: h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid),
			config: strings.Contains("\n"+conffiles, "\n"+path+"\n")}
	}
}

func TestDebControl(t *testing.T) {
	deb := built(t, dist, "deb")
	for field, want := range map[string]string{
		"Package": "swerve", "Version": builtVersion, "Architecture": runtime.GOARCH,
		"Section": "net", "Priority": "optional", "Depends": "systemd",
	} {
		if got := strings.TrimSpace(output(t, "dpkg-deb", "-f", deb, field)); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	for _, field := range []string{"Maintainer", "Description", "Installed-Size"} {
		if strings.TrimSpace(output(t, "dpkg-deb", "-f", deb, field)) == "" {
			t.Errorf("%s is missing", field)
		}
	}
}
