package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// enginePackage is the folder that another commit's engine replaces.
const enginePackage = "failover"

// playOther plays the same with the engine of another commit: this command is built again,
// with that commit's files in place of the present ones. Everything else is the present
// tree's, so the engine's exported names must be those that it uses.
func playOther(ctx context.Context, commit, only string, variants []string, pl plan) ([]result, error) {
	folder, err := os.MkdirTemp("", "profiles-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	top, err := output(ctx, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	root := strings.TrimSpace(string(top))
	archive, err := output(ctx, "git", "-C", root, "archive", commit, enginePackage)
	if err != nil {
		return nil, fmt.Errorf("the engine of %s: %w", commit, err)
	}
	overlay, err := overlayOf(archive, root, folder)
	if err != nil {
		return nil, fmt.Errorf("the engine of %s: %w", commit, err)
	}
	binary := filepath.Join(folder, "profiles")
	if _, err := output(ctx, "go", "build", "-overlay", overlay, "-o", binary, "swerve/testenv/profiles"); err != nil {
		return nil, fmt.Errorf("the engine of %s: %w", commit, err)
	}
	args := []string{
		"-json", "-only", only, "-days", strconv.FormatFloat(pl.days, 'g', -1, 64),
		"-outages", strconv.Itoa(pl.outages), "-seed", strconv.FormatUint(pl.seed, 10),
	}
	for _, v := range variants[1:] {
		args = append(args, "-with", v)
	}
	text, err := output(ctx, binary, args...)
	if err != nil {
		return nil, err
	}
	var results []result
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, err
	}
	for i := range results {
		results[i].Engine = strings.TrimSpace(commit + " " + results[i].Engine)
	}
	return results, nil
}

// overlayOf writes the engine of an archive into a folder, and the file that makes `go
// build -overlay` take it instead of the one below root. It returns that file's name.
func overlayOf(archive []byte, root, folder string) (string, error) {
	replace := map[string]string{}
	present, err := filepath.Glob(filepath.Join(root, enginePackage, "*.go"))
	if err != nil {
		return "", err
	}
	for _, name := range present {
		replace[name] = "" // unless that commit has it as well
	}
	for files := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if h.Typeflag != tar.TypeReg || filepath.Dir(h.Name) != enginePackage || filepath.Ext(h.Name) != ".go" {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return "", err
		}
		to := filepath.Join(folder, filepath.Base(h.Name))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, h.Name)] = to
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// output runs a program and returns its output; what it says of an error is in that.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(stderr.String()))
	}
	return text, err
}

// mixed puts the rows of another engine behind those of the present one, line by line.
func mixed(results, others []result, variants int) (all []result) {
	for i := 0; i < len(results); i += variants {
		all = append(all, results[i:i+variants]...)
		if i+variants <= len(others) {
			all = append(all, others[i:i+variants]...)
		}
	}
	return all
}
