//go:build gcov

package ctest

/*
// Of libgcov, which writes what it has counted at exit. Go ends a process otherwise.
void __gcov_dump(void);

static int
dump(void)
{
	__gcov_dump();
	return 0;
}
*/
import "C"

func init() { atEnd = func() { C.dump() } }
