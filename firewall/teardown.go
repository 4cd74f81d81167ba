package firewall

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// DeleteTable removes table inet swerve with all that is in it. It is no error
// where there is none.
func (k *Kernel) DeleteTable() error {
	err := transact(func(tx *transaction) { tx.DelTable(tx.table) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("firewall: delete table inet %s: %w", tableName, err)
	}
	return nil
}
