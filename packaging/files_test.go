package packaging

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	"/etc/swerve/swerve.yaml":                          {mode: 0o644, config: true},
	"/usr/bin/swerve":                                  {mode: 0o755},
	"/usr/lib/systemd/system/swerve.service":           {mode: 0o644},
	"/usr/lib/sysusers.d/swerve.conf":                  {mode: 0o644},
	"/usr/lib/tmpfiles.d/swerve.conf":                  {mode: 0o644},
	"/usr/share/bash-completion/completions/swerve":    {mode: 0o644},
	"/usr/share/doc/swerve/API.md":                     {mode: 0o644},
	"/usr/share/doc/swerve/DECISION.md":                {mode: 0o644},
	"/usr/share/doc/swerve/OPERATION.md":               {mode: 0o644},
	"/usr/share/doc/swerve/SESSIONS.md":                {mode: 0o644},
	"/usr/share/doc/swerve/README.md":                  {mode: 0o644},
	"/usr/share/doc/swerve/networkd.conf":              {mode: 0o644},
	"/usr/share/doc/swerve/reference.yaml":             {mode: 0o644},
	"/usr/share/fish/vendor_completions.d/swerve.fish": {mode: 0o644},
	"/usr/share/man/man5/swerve.yaml.5.gz":             {mode: 0o644},
	"/usr/share/man/man8/swerve.8.gz":                  {mode: 0o644},
}

// only are the further files of a package format.
var only = map[string][]string{
	"deb": {"/usr/share/zsh/vendor-completions/_swerve", "/usr/share/doc/swerve/copyright",
		"/usr/share/doc/swerve/changelog.gz", "/usr/share/lintian/overrides/swerve"},
	"rpm": {"/usr/share/zsh/site-functions/_swerve", "/usr/share/licenses/swerve/LICENSE"},
}

// pages are the subcommands that have a manual page of their own.
var pages = []string{"check", "completion", "confirm", "doctor", "drain", "events", "explain", "init", "plan", "reload", "resume", "run", "status", "switch", "teardown", "tui", "version"}

// contentOf returns the content of a package format.
func contentOf(format string) map[string]file {
	want := maps.Clone(content)
	for _, path := range only[format] {
		want[path] = file{mode: 0o644}
	}
	for _, page := range pages {
		want["/usr/share/man/man8/swerve-"+page+".8.gz"] = file{mode: 0o644}
	}
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

// The packages of one day sort by the time of their commits, before and after those
// of a tag, as dpkg compares them.
func TestVersionsSort(t *testing.T) {
	repository := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", repository, "-c", "user.name=x", "-c", "user.email=x@localhost"}, args...)...)
		n, _ := strconv.Atoi(strings.TrimLeft(args[len(args)-1], "v."))
		cmd.Env = append(os.Environ(), fmt.Sprintf("GIT_COMMITTER_DATE=%d +0100", builtEpoch+60*n))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	makefile, err := filepath.Abs("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	var versions []string
	version := func() {
		cmd := exec.Command("make", "-s", "-f", makefile, "-f", "-", "print")
		cmd.Dir, cmd.Env = repository, plainEnviron()
		cmd.Stdin = strings.NewReader("print:\n\t@echo '$(VERSION)'\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, strings.TrimSpace(string(out)))
	}
	for n := range 6 {
		git("commit", "-q", "--allow-empty", "-m", strconv.Itoa(n+1))
		if n == 2 {
			git("tag", "v1.2.3")
		}
		version()
	}
	git("tag", "v1.2.4")
	version()
	for n, v := range versions[1:] {
		if exec.Command("dpkg", "--compare-versions", versions[n], "lt", v).Run() != nil {
			t.Errorf("%s does not sort before %s", versions[n], v)
		}
	}
	if versions[2] != "1.2.3" || !strings.HasPrefix(versions[0], "0.0.0~git20231114") {
		t.Errorf("the versions are %q", versions)
	}
}

// The manual pages are formatted without a complaint, and have the flags of the help
// and the keys of the reference.
func TestManualPages(t *testing.T) {
	root := unpack(t)
	for page, want := range map[string]string{
		"man8/swerve.8": "--socket PATH", "man8/swerve-run.8": "-c, --config FILE", "man5/swerve.yaml.5": "standby_interval: 30s",
		"man8/swerve-status.8": "/var/lib/swerve", "man8/swerve-events.8": "/usr/share/doc/swerve/OPERATION.md", "man8/swerve-resume.8": "UPLINK",
	} {
		text := output(t, "zcat", filepath.Join(root, "usr/share/man", page+".gz"))
		plain := strings.ReplaceAll(text, `\-`, "-")
		if !strings.Contains(plain, want) {
			t.Errorf("%s has no %q:\n%s", page, want, plain)
		}
		if _, err := exec.LookPath("groff"); err != nil {
			continue // the pages' content is checked all the same
		}
		cmd := exec.Command("groff", "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff on %s: %v\n%s", page, err, out)
		}
	}
}

// Neither checker of the distributions has anything to say beyond what the overrides
// explain.
func TestLint(t *testing.T) {
	for tool, args := range map[string][]string{
		"lintian": {"--fail-on=error,warning", "--allow-root", built(t, dist, "deb")},
		"rpmlint": {"-c", "rpmlint.toml", built(t, dist, "rpm")},
	} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("no %s on this machine", tool)
			continue
		}
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil || strings.Contains(string(out), ": W: ") {
			t.Errorf("%s: %v\n%s", tool, err, out)
		}
	}
}

// make install has what the packages have; uninstall removes all of it but a
// configuration that was changed.
func TestInstallAndUninstall(t *testing.T) {
	root := t.TempDir()
	run := func(target string) {
		cmd := exec.Command("make", "-s", "-C", "..", target, "DESTDIR="+root, "DIST="+filepath.Join(t.TempDir(), "dist"), "VERSION="+builtVersion)
		cmd.Env = plainEnviron()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	files := func() map[string]file {
		got := map[string]file{}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			got[strings.TrimPrefix(path, root)] = file{mode: info.Mode()}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	run("install")
	got := files()
	for path, f := range contentOf("rpm") {
		if path = strings.Replace(path, "/usr/share/licenses/", "/usr/share/doc/", 1); got[path].mode != f.mode {
			t.Errorf("%s is %+v, want %v", path, got[path], f.mode)
		}
		delete(got, path)
	}
	if len(got) > 0 {
		t.Errorf("the packages lack %v", got)
	}
	config := filepath.Join(root, "etc/swerve/swerve.yaml")
	if err := os.WriteFile(config, []byte("uplinks: auto # mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("install")
	run("uninstall")
	if got := files(); len(got) != 1 || !strings.HasSuffix(read(t, config), "# mine\n") {
		t.Errorf("uninstall left %v, want the changed configuration alone", got)
	}
	output(t, "cp", "swerve.yaml", config)
	run("uninstall")
	if got := files(); len(got) != 0 {
		t.Errorf("uninstall left %v", got)
	}
}

// Links in the packaged documents lead to what is packed beside them, or to the outside.
func TestPackagedLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	count := 0
	for path := range content {
		folder, name := filepath.Split(path)
		if filepath.Ext(name) != ".md" {
			continue
		}
		source := filepath.Join("../docs", name)
		if name == "README.md" {
			source = name
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			count++
			if _, packed := content[filepath.Join(folder, found[1])]; !packed && !strings.HasPrefix(found[1], "https://") {
				t.Errorf("%s: the link to %s leads nowhere in a package", name, found[1])
			}
		}
	}
	if count == 0 {
		t.Error("no link is found: is the pattern right?")
	}
}

// The README of the packages is about what they install, not about the source.
func TestPackagedREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"make ", "docs/", "config/", "](", "testenv", "/dist"} {
		if strings.Contains(string(text), no) {
			t.Errorf("it has %q", no)
		}
	}
	for _, name := range []string{"OPERATION.md", "SESSIONS.md", "DECISION.md", "reference.yaml", "API.md", "networkd.conf"} {
		if _, packed := content["/usr/share/doc/swerve/"+name]; !packed || !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s: packed is %t, or it is not named", name, packed)
		}
	}
}
