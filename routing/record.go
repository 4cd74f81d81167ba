package routing

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

const (
	// recordVersion is the format of the file.
	recordVersion = 1
	// recordLimit bounds the size of a file, in bytes; ours have a hundred for each
	// sysctl.
	recordLimit = 1 << 20
)

// record is the file with the values that sysctls had before we set them.
type record struct {
	path    string
	Version int      `json:"version"`
	Changes []change `json:"changes"`
}

// change is one sysctl that is, or is about to be, ours.
type change struct {
	// Interface is the name that the interface had then; Index distinguishes it
	// from a later one of the same name.
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	// Key is the family and the last part of the sysctl, such as
	// ipv4/src_valid_mark.
	Key string `json:"key"`
	Old string `json:"old"`
}

func compareChanges(a, b change) int {
	return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Key, b.Key))
}

// same reports whether both are about the same sysctl of the same interface.
func (c change) same(o change) bool { return c.Index == o.Index && c.Key == o.Key }

// readRecord reads the file. If it does not exist, the record is empty.
func readRecord(path string) (*record, error) {
	r := &record{path: path, Version: recordVersion}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, fmt.Errorf("routing: read the old sysctls from %s: it is not a regular file", path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var b []byte
	if err == nil {
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, recordLimit+1))
	}
	if err == nil {
		err = r.decode(b)
	}
	if err != nil {
		return nil, fmt.Errorf("routing: read the old sysctls from %s: %w", path, err)
	}
	return r, nil
}

// decode decodes the file's content, and rejects what we cannot have written: parts
// of it become paths below /proc/sys.
func (r *record) decode(b []byte) error {
	if len(b) > recordLimit {
		return fmt.Errorf("more than %d bytes", recordLimit)
	}
	if err := json.Unmarshal(b, r); err != nil {
		return err
	}
	if r.Version != recordVersion {
		return fmt.Errorf("format version %d, but this version of Swerve reads %d", r.Version, recordVersion)
	}
	for _, c := range r.Changes {
		if !isManaged(c.Key) {
			return fmt.Errorf("%q is not a sysctl that Swerve sets", c.Key)
		}
		if _, err := strconv.Atoi(c.Old); err != nil {
			return fmt.Errorf("%q is not a value of %s", c.Old, c.Key)
		}
	}
	return nil
}

// remember saves the old values of changes before the changes are made. A value that
// is recorded already is older, and stays.
func (r *record) remember(changes []change) error {
	before := r.Changes
	all := slices.Clone(before)
	for _, c := range changes {
		if !slices.ContainsFunc(all, c.same) {
			all = append(all, c)
		}
	}
	if len(all) == len(before) {
		return nil
	}
	slices.SortFunc(all, compareChanges)
	r.Changes = all
	if err := r.save(); err != nil {
		r.Changes = before
		return fmt.Errorf("routing: save the old sysctls, so none is written: %w", err)
	}
	return nil
}

// forget removes changes that have been undone.
func (r *record) forget(changes []change) error {
	r.Changes = slices.DeleteFunc(r.Changes, func(c change) bool { return slices.ContainsFunc(changes, c.same) })
	err := r.save()
	if len(r.Changes) == 0 {
		err = os.Remove(r.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("routing: remove restored sysctls from the record: %w", err)
	}
	return nil
}

// others returns the changes of interfaces that are not among the given ones and, with
// proxied, those of src_valid_mark.
func (r *record) others(links []Interface, proxied bool) []change {
	var out []change
	for _, c := range r.Changes {
		if proxied && c.Key == failover.IPv4.String()+"/"+validMark || !slices.ContainsFunc(links, func(l Interface) bool { return l.Index == c.Index }) {
			out = append(out, c)
		}
	}
	return out
}

// save writes a temporary file in the same folder and renames it, so that the file
// is always complete.
func (r *record) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), ".sysctls-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), r.path)
}
