package selectors

import "context"

// SelectContext is s.SelectInto(dst, -1) that also returns when ctx ends, with
// ctx.Err(). An empty batch without an error means that Wake was called.
//
// If s is not a selector of this package, the end of ctx may leave a Wake pending
// that ends the next Select of s early.
func SelectContext(ctx context.Context, s Selector, dst []Ready) ([]Ready, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	if ctx.Done() == nil {
		return s.SelectInto(dst, -1)
	}
	// The comparison excludes a type that embeds one of ours: it may have a
	// SelectInto of its own.
	if own, ok := s.(interface{ inner() *core }); ok && own.inner().self == s {
		c := own.inner()
		defer context.AfterFunc(ctx, func() { c.interrupt(wakeInternal) })()
		return c.selectUntil(ctx.Err, dst, -1)
	}
	defer context.AfterFunc(ctx, func() { s.Wake() })()
	given := len(dst)
	dst, err := s.SelectInto(dst, -1)
	if err == nil && len(dst) == given {
		err = ctx.Err()
	}
	return dst, err
}

func (c *core) inner() *core { return c }
