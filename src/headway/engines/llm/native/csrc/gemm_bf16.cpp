// Products with bf16 weights, two words' halves at a time.
#include "finish.h"

namespace headway {

HEADWAY_PRODUCTS(, Bf16)

}  // namespace headway
