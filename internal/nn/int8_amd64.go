//go:build !purego

package nn

func (v isa) multipliesBytes() bool { return v >= vnni }

func (v isa) toBytes(dst []uint8, x []float32) int8Row {
	if v < vnni || len(x) == 0 {
		return toBytesGo(dst, x)
	}
	step, least := toBytesAVX512(len(x), &dst[0], &x[0])
	return int8Row{step: step, least: least}
}

func (v isa) toWords(high, low []uint8, x []float32) int8Row {
	if v < vnni || len(x) == 0 {
		return toWordsGo(high, low, x)
	}
	step, least := toWordsAVX512(len(x), &high[0], &low[0], &x[0])
	return int8Row{step: step, least: least}
}

// gemmInt8 computes c[m][n] (+)= a[m][k] · b + bias for up to int8M rows of
// bytes and panels b of bytes, each [k/4][16][4]; far tells that b is not in a near cache.
func (v isa) gemmInt8(m, n, k int, a []uint8, rows []int8Row, b []int8, cols []int8Cols, c []float32, ldc int, add, far bool) {
	if v < vnni {
		gemmInt8Go(m, n, k, a, rows, b, cols, c, ldc, add)
		return
	}
	// The processor fetches one line after the other of its own accord, to the
	// end of a page of 4 kB. Calling for the next panels pays only where they
	// come from beyond the second cache.
	ahead := 0
	if far {
		ahead = 2 * panelN * k
	}
	switch m {
	case 1:
		gemmInt8x1VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 2:
		gemmInt8x2VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 3:
		gemmInt8x3VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 4:
		gemmInt8x4VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 5:
		gemmInt8x5VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 6:
		gemmInt8x6VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 7:
		gemmInt8x7VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 8:
		gemmInt8x8VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 9:
		gemmInt8x9VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 10:
		gemmInt8x10VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 11:
		gemmInt8x11VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 12:
		gemmInt8x12VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	case 13:
		gemmInt8x13VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	default:
		gemmInt8x14VNNI(n, k, &a[0], &rows[0].step, &b[0], &cols[0].step[0], &c[0], ldc, add, ahead)
	}
}

func (v isa) toSigned(dst []int8, x []float32) (step, sum float32) {
	if v < vnni || len(x) == 0 {
		return toSignedGo(dst, x)
	}
	return toSignedAVX512(len(x), &dst[0], &x[0])
}

func (v isa) columnMax(dst, x []float32, ld, n int) {
	if v < vnni {
		columnMaxGo(dst, x, ld, n)
		return
	}
	columnMaxAVX512(n, len(dst), &dst[0], &x[0], ld)
}

func (v isa) packBytes(dst []int8, x []float32, ld, n int, inverse []float32) {
	whole := n &^ 3
	if v < vnni {
		whole = 0
	}
	if whole > 0 {
		packBytesAVX512(whole/4, len(inverse), &dst[0], &x[0], ld, &inverse[0])
	}
	packBytesGo(dst, x, ld, whole, n, inverse)
}

func (v isa) powers(high, low []uint8, x []float32) float32 {
	if v < vnni || len(x) == 0 {
		return powersGo(high, low, x)
	}
	return powersAVX512(len(x), &high[0], &low[0], &x[0])
}
