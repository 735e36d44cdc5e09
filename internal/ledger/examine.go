package ledger

import "context"

// Examine looks for damage in the ledger's file, without changing it. It takes
// as long as reading the file does; the error is an *Error, or the context's.
func (l *Ledger) Examine(ctx context.Context) error {
	var said string
	err := l.reader.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&said)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return explain("examine the ledger", err)
	case said != "ok":
		return &Error{Kind: Broken, Message: "the ledger is damaged: " + said, HintText: "restore it from a backup, or rebuild it with `tsupload ledger adopt`"}
	}
	return nil
}
