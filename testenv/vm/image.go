package vm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed image
var imageScript []byte

// Image is the folder with a release's disk, kernel and initial RAM disk.
type Image string

// The flavours of Debian's kernel: the one for clouds is small, and lacks PPP.
const (
	CloudKernel = "cloud-amd64"
	FullKernel  = "amd64"
)

// MakeImage returns the image of a Debian release, such as "trixie", with a flavour of
// its kernel. It is made where the user's cache folder lacks it, which takes minutes and
// needs root.
func MakeImage(ctx context.Context, release, kernel string) (Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("vm: %w", err)
	}
	sum := sha256.Sum256(imageScript)
	folder := filepath.Join(cache, "swerve-vm", fmt.Sprintf("%s-%s-%x", release, kernel, sum[:6]))
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return Image(folder), err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", fmt.Errorf("vm: %w", err)
	}
	out, err := exec.CommandContext(ctx, "sh", "-c", string(imageScript), "image", release, folder, kernel).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("vm: make the image of %s with kernel %s: %w\n%s", release, kernel, err, tail(string(out)))
	}
	return Image(folder), nil
}

func (i Image) file(name string) string { return filepath.Join(string(i), name) }

// tail is the end of a log, as much as a message can bear.
func tail(log string) string { return log[max(0, len(log)-4000):] }
