// Products with bf16 weights, two of them to a word.
#include "finish.h"

namespace headway {

HEADWAY_PRODUCTS(, Bf16)

}  // namespace headway
