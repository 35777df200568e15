// Package eventloop runs callbacks when files are ready, timers expire, signals
// arrive or other goroutines ask: what asyncio's event loop is to Python, on
// package selectors.
package eventloop
